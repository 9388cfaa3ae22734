# syntax=docker/dockerfile:1
#
#   docker build -t sluice .
#   docker run --rm -p 4318:4318 -v sluice-data:/var/lib/sluice sluice
#   docker run --rm -p 4318:4318 -v ./my.yaml:/etc/sluice/sluice.yaml:ro sluice
#
# For both architectures, the program being compiled on this one:
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example.com/sluice --push .
#
# The bases are pinned, so that they are the same each time. `docker buildx imagetools inspect rust:1.95-bookworm` prints the digest of a newer
# one, which goes here, or into --build-arg BUILDER=rust:1.95-bookworm@sha256:…, and the same goes for BASE. Both are indexes of images, with
# one for each architecture.

ARG BUILDER=rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1
ARG BASE=gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f

# On the machine that builds, whatever it builds for: zig links for the other architecture, against the C library that the base has at least.
FROM --platform=$BUILDPLATFORM ${BUILDER} AS builder
ARG TARGETARCH
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY deploy/tool deploy/tool
COPY deploy/tools deploy/tools
RUN SLUICE_TOOLS=/tools deploy/tool zig && SLUICE_TOOLS=/tools deploy/tool cargo-zigbuild
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    SLUICE_TOOLS=/tools deploy/program "${TARGETARCH:-amd64}" /out/sluice \
    && mkdir -p /out/var/lib/sluice

FROM ${BASE}
COPY --from=builder /out/sluice /sluice
COPY config/container.yaml /etc/sluice/sluice.yaml
COPY LICENSE /usr/share/doc/sluice/LICENSE
# `nonroot` of the base image, by number, so that Kubernetes can tell that it isn't root.
COPY --from=builder --chown=65532:65532 /out/var/lib/sluice /var/lib/sluice
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="An OTLP stream router" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /var/lib/sluice
VOLUME /var/lib/sluice
ENV SLUICE_CONFIG=/etc/sluice/sluice.yaml
# OTLP/gRPC; OTLP/HTTP; admin (loopback inside the container unless SLUICE_ADMIN says otherwise, which needs SLUICE_ADMIN_TOKEN); health and metrics.
EXPOSE 4317 4318 8888 13133
# Asks the admin listener, which needs no token for that; set SLUICE_HEALTH_URL if yours is elsewhere, or has TLS: to that of
# `health`, which has none.
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["/sluice", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sluice"]
CMD ["run"]
