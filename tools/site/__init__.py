"""The documentation site: its pages, navigation, build and versions."""
