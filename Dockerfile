# A node of JCAS: `docker build -t jcas .`
#
# The program is built in one image and runs in another that holds it and the C library, nothing to
# build with. It runs as a user of its own, writes to /var/lib/jcas alone, and so takes a read-only
# root file system (`docker run --read-only`); docker-compose.yml shows how.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Cargo.toml names the tests and benchmarks, so cargo wants to see their folders. What tells rustup
# which toolchain to use stays away: the image has the right one.
COPY Cargo.toml Cargo.lock ./
COPY config config
COPY examples examples
COPY benches benches
COPY tests tests
COPY src src
RUN cargo build --release --locked --bin jcas

FROM debian:bookworm-slim
RUN groupadd --gid 10001 jcas && useradd --uid 10001 --gid 10001 --no-create-home jcas && install -d -o jcas -g jcas -m 0700 /var/lib/jcas
COPY --from=build /build/target/release/jcas /usr/local/bin/jcas
USER 10001:10001
WORKDIR /var/lib/jcas
ENV JCAS__NODE__DATA_DIR=/var/lib/jcas/data
VOLUME /var/lib/jcas
EXPOSE 8080
# Calls under way are finished, a checkpoint is taken, the log is closed: docs/operations.md.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=5m --retries=3 CMD ["jcas", "health"]
ENTRYPOINT ["jcas"]
CMD ["serve"]
