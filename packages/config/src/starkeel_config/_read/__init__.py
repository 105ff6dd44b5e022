"""Reading of settings from environment variables, mounted files and `.env`."""
