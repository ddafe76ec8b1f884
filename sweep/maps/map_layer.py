"""What a map says of each pixel: classes and their probabilities, or a number."""

from sweep.maps.class_areas import ClassAreas
from sweep.maps.map_classes import MapClasses
from sweep.maps.map_numbers import MapNumbers, NumberSummary

MapLayer = MapClasses | MapNumbers
MapSummary = ClassAreas | NumberSummary
