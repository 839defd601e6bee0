"""One function a stage, on plain data and folders: what the commands and a project's rounds are made of."""
