"""What every test may use."""

# In a clone nothing is installed, and pytest does not find the plugin by its entry point.
pytest_plugins = ("taskrunner.testing.plugin",)
