"""What a technique imposes on a tensor, as a torch parametrization, or on the input of a layer, as a hook."""
