#!/bin/bash
# Writes the root file system of gcr.io/distroless/python3-debian13 to a folder: distroless.sh FOLDER
set -euo pipefail
root=${1:?a folder}
packages="base-files netbase tzdata ca-certificates media-types libc6 libssl3t64 libzstd1 zlib1g libgomp1
  libstdc++6 libgcc-s1 gcc-14-base libbz2-1.0 libdb5.3t64 libexpat1 liblzma5 libsqlite3-0 libuuid1 libncursesw6
  libtinfo6 libcom-err2 libcrypt1 libc-bin libgssapi-krb5-2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0
  libnsl2 libreadline8t64 libtirpc3t64 libffi8 libpython3.13-minimal libpython3.13-stdlib python3.13-minimal
  python3.13-venv"
mkdir -p /debs "$root"
cd /debs
# shellcheck disable=SC2086
apt-get download -qq $packages
mkdir -p "$root/var/lib/dpkg/status.d"
for package in ./*.deb; do
  dpkg-deb --field "$package" > "$root/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink
done
cd "$root"
rm -rf usr/share/{man,lintian,bug,locale,info,bash-completion}
find usr/share/doc -type f ! -name copyright -delete
mkdir -p etc/ssl/certs home/nonroot root tmp var run proc sys dev
chmod 1777 tmp
chmod 700 home/nonroot
chown 65532:65532 home/nonroot
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
users='root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin'
printf '%s\n' "$users" > etc/passwd
printf 'root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n' > etc/group
ln -sf python3.13 usr/bin/python3
ln -sf python3.13 usr/bin/python
