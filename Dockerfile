# The page of `apollo web` in a container.
#
#   docker build -t apollo . && docker run --rm -p 127.0.0.1:7860:7860 apollo
#
# With a GPU: docker build --build-arg TORCH=cu130 -t apollo . && docker run --rm --gpus all -p 127.0.0.1:7860:7860 apollo
FROM python:3.13-slim

# cpu, or the CUDA that PyTorch's wheels are built for.
ARG TORCH=cpu

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 HOME=/home/apollo
WORKDIR /opt/apollo

COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY apollo apollo
RUN pip install -c constraints.txt --extra-index-url "https://download.pytorch.org/whl/${TORCH}" ".[web]" \
    && useradd --create-home --uid 1000 apollo
USER apollo
RUN mkdir /home/apollo/.cache

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/').close()"]
# In the container it must listen at every address; which of them reaches it is up to `docker run -p`.
ENTRYPOINT ["apollo", "web", "--host", "0.0.0.0", "--port", "7860", "--no-browser"]
