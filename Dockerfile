# The image of collector: one static binary, its licences, the CA bundle, an empty volume. No shell is inside.
#
#   docker build -t collector .                                  (or: make image)
#   docker buildx build --platform linux/amd64,linux/arm64 .     (Go cross-compiles: nothing is emulated)
#   docker run --read-only -p 127.0.0.1:9420:9420 -v ./config.yaml:/etc/collector/config.yaml:ro -v collector-data:/data collector
#
# HEALTHCHECK is a member of docker's image format; podman and buildah drop it unless told `--format docker`.

# The final image has no base. The image that it is built in is fixed by its digest, because a tag may be given to other
# content; CONTRIBUTING.md says how to update it.
ARG GO_IMAGE=golang:1.26.8-bookworm@sha256:9fdc884aacc3bec89b20ffc69f4bb369c78210e3e4f600387b5128b12c199f81

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src

# The modules first: this layer lasts until go.mod or go.sum change.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    GOMODCACHE=/go/pkg/mod go mod download

# Where the CA bundle lies differs among bases; a missing one must fail here, not at the first call to AWS.
RUN mkdir -p /out/data && cp /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG REVISION=unknown
# The date of the commit: the same source makes the same binary.
ARG DATE=unknown
# The build cache is what makes a second build quick: service/ec2 alone compiles for minutes.
# timetzdata carries the time zones inside the binary, for the config's `timezone`.
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOMODCACHE=/go/pkg/mod \
    go build -trimpath -buildvcs=false -tags timetzdata \
      -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION -X main.date=$DATE" \
      -o /out/collector ./cmd/collector

FROM scratch
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The one place that is written to. A named volume takes its owner from here; a mounted folder must belong to 65532 itself.
COPY --from=build --chown=65532:65532 /out/data /data
COPY LICENSE THIRD_PARTY_NOTICES /licenses/
COPY --from=build /out/collector /collector

# TMPDIR, because there is no /tmp; only the demo wants one.
ENV COLLECTOR_CONFIG=/etc/collector/config.yaml \
    COLLECTOR_DATA_DIR=/data \
    COLLECTOR_LISTEN=:9420 \
    TMPDIR=/data
# Numbers, because Kubernetes' runAsNonRoot cannot look a name up.
USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
EXPOSE 9420
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["/collector", "healthcheck"]
ENTRYPOINT ["/collector"]
CMD ["run"]

ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=
LABEL org.opencontainers.image.title="collector" \
      org.opencontainers.image.description="Inventories every EC2 resource in every AWS account, on a schedule" \
      org.opencontainers.image.source="https://github.com/aws-collector/collector" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
