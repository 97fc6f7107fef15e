# The image of token-broker: the program, the libraries that it loads and the certificates of public authorities, and
# nothing else. No shell, no package manager, no user that could log in.
#
#   docker build --tag token-broker .
#
# Run it with a read-only root file system and no capabilities; deploy/compose and deploy/kubernetes do.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --no-default-features \
      --features postgres-static,redis-sentinel,redis-cluster \
    && deploy/container/rootfs target/dist/token-broker /rootfs

FROM scratch
LABEL org.opencontainers.image.title="token-broker" \
      org.opencontainers.image.description="Signs users in to single-page apps and gives the apps bearer tokens" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /rootfs /
ENV TOKEN_BROKER_CONFIG=/etc/token-broker/token-broker.toml
# A number, so that an orchestrator can check that it is not root.
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 CMD ["/usr/bin/token-broker", "health"]
ENTRYPOINT ["/usr/bin/token-broker"]
CMD ["serve"]
