"""The tests mirror the package: the test of a thing stands in the folder of the same name."""
