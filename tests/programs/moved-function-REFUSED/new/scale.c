long unit_of_scale;
