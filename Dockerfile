# The image of Rookery: one static program in an empty file system. Nothing else is in it, no shell and no library, so nothing else
# in it can be attacked or has to be kept up to date. Builds with BuildKit and with the classic builder.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src

# Static, so that it needs no library; --target keeps the flag away from build scripts and procedural macros. Symbols stay, for
# backtraces; the rest of the debug information would be four fifths of the file.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=debuginfo CARGO_INCREMENTAL=0

# The dependencies first, with empty sources in place of ours: this layer is built again only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
RUN mkdir -p src loadtest/src \
    && echo 'fn main() {}' > src/main.rs \
    && echo 'fn main() {}' > loadtest/src/main.rs \
    && touch src/lib.rs \
    && rustc --print host-tuple > /target \
    && cargo build --release --locked --package rookery --target "$(cat /target)"

COPY src src
COPY migrations migrations
# Cargo compares times: ours must be newer than the empty sources.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package rookery --bin rookery --target "$(cat /target)" \
    && mkdir -p /image/data \
    && cp "target/$(cat /target)/release/rookery" /image/rookery \
    && cp Cargo.lock /image/Cargo.lock

FROM scratch
LABEL org.opencontainers.image.title="Rookery" \
      org.opencontainers.image.description="A self-hosted backend for real-time messaging" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/rookery /rookery
# Which dependencies are inside, for scanners; and the licence.
COPY --from=build /image/Cargo.lock /Cargo.lock
COPY LICENSE /LICENSE
# A new volume here belongs to the user below.
COPY --from=build --chown=10001:10001 /image/data /data
# SQLite puts its temporary files into the working folder, as there is no /tmp; all else may be read-only.
WORKDIR /data
ENV ROOKERY_DATA=/data
USER 10001:10001
ENTRYPOINT ["/rookery"]
CMD ["--help"]
