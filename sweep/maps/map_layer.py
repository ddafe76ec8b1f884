"""Layer of a map: the values of each pixel, either classes with probabilities or a predicted number."""

from sweep.maps.class_areas import ClassAreas
from sweep.maps.map_classes import MapClasses
from sweep.maps.map_numbers import MapNumbers, NumberSummary

MapLayer = MapClasses | MapNumbers
MapSummary = ClassAreas | NumberSummary
