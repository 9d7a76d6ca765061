#!/usr/bin/env bash
# Runs the tests against a real cluster: etcd from Debian, and a kube-apiserver
# built from its released Go modules. The build takes some minutes once and is
# kept outside the checkout, under the user's cache, by version and by what it was
# built from.
set -euo pipefail
cd "$(dirname "$0")"
version=v1.36.3
sum=$(cat apiserver/go.mod apiserver/go.sum apiserver/main.go | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cambio
apiserver=$cache/kube-apiserver-$version-$sum

find_etcd() { command -v etcd || ls "$cache"/etcd/usr/bin/etcd 2>/dev/null; }
if ! find_etcd >/dev/null; then
  if [ "$(id -u)" = 0 ]; then
    echo "installing etcd-server"
    apt-get install -y --no-install-recommends etcd-server >/dev/null ||
      { apt-get update >/dev/null && apt-get install -y --no-install-recommends etcd-server >/dev/null; }
  else
    echo "unpacking etcd-server into $cache/etcd"
    mkdir -p "$cache/etcd"
    (cd "$cache/etcd" && apt-get download etcd-server >/dev/null && dpkg -x etcd-server_*.deb . && rm etcd-server_*.deb)
  fi
fi
etcd=$(find_etcd)

if [ ! -x "$apiserver" ]; then
  echo "building kube-apiserver $version from Go modules (some minutes, once)"
  mkdir -p "$cache"
  (cd apiserver && CGO_ENABLED=0 go build -trimpath \
    -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$apiserver.new" .)
  mv "$apiserver.new" "$apiserver"
fi
echo "etcd: $("$etcd" --version | head -1); kube-apiserver: $("$apiserver" --version)"

cd ../..
CAMBIO_ETCD=$etcd CAMBIO_KUBE_APISERVER=$apiserver \
  go test -tags cluster -count=1 -v -timeout 8m ./deploy/testcluster/
