"""Content of the pages, and their templates."""
