FROM python:3.11-slim-bookworm

# The mongod of the embedded MongoDB needs libcurl; OpenSSL 3 and liblzma are in the base image.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libcurl4 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .

RUN useradd --create-home --uid 10001 psp \
    && mkdir /data \
    && chown psp:psp /data
USER psp

ENV ENVIRONMENT=production HOST=0.0.0.0 PORT=8000 DATA_DIR=/data \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=30s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health/ready\", timeout=5)"]
CMD ["python", "cli.py", "serve"]
