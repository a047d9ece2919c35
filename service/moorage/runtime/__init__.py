"""The processes: gunicorn's master and worker, uvicorn for development, and the HTTP protocol they speak."""
