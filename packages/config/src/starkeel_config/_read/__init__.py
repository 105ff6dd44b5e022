"""Reading of settings from the environment, files and `.env`."""
