# syntax=docker/dockerfile:1
#
#   docker build -t sluice .
#   docker run --rm -p 4318:4318 -v sluice-data:/var/lib/sluice sluice
#   docker run --rm -p 4318:4318 -v ./my.yaml:/etc/sluice/sluice.yaml:ro sluice
#
# The C library of the builder must not be newer than that of the image it ends in: both are Debian 12.

FROM rust:1.95-bookworm AS builder
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin sluice \
    && mkdir -p /out/var/lib/sluice \
    && strip --strip-debug -o /out/sluice target/release/sluice

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /out/sluice /sluice
COPY config/container.yaml /etc/sluice/sluice.yaml
# `nonroot` of the base image, by number, so that Kubernetes can tell that it isn't root.
COPY --from=builder --chown=65532:65532 /out/var/lib/sluice /var/lib/sluice
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
