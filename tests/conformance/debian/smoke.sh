# A package is made, installed by dpkg and by apt, checked and removed; and somebody who is not root logs in.
set -e
mkdir -p /p/DEBIAN /p/usr/bin /repo
cd /
printf 'Package: greeter\nVersion: 1\nArchitecture: all\nMaintainer: n <a@b>\nDescription: says hello\n' >p/DEBIAN/control
printf '#!/bin/sh\nset -e\nid -un >/var/lib/greeter\n' >p/DEBIAN/postinst
printf '#!/bin/sh\necho hello\n' >p/usr/bin/greeter
(cd p && md5sum usr/bin/greeter >DEBIAN/md5sums)
chmod 755 p/DEBIAN/postinst p/usr/bin/greeter
dpkg-deb --build p /repo/greeter_1_all.deb
dpkg -i /repo/greeter_1_all.deb
test "$(greeter)" = hello
test "$(cat /var/lib/greeter)" = root
dpkg -V greeter
echo changed >>/usr/bin/greeter
dpkg -V greeter >changed || true
grep -q '^??5' changed
dpkg -P greeter
test ! -e /usr/bin/greeter
cd /repo
(
    cat /p/DEBIAN/control
    printf 'Filename: ./greeter_1_all.deb\nSize: %s\n' "$(stat -c %s greeter_1_all.deb)"
    printf 'SHA256: %s\n\n' "$(sha256sum greeter_1_all.deb | cut -d' ' -f1)"
) >Packages
rm -rf /etc/apt/sources.list.d
echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list
apt-get -q update
apt-get -qy install greeter
test "$(greeter)" = hello
useradd -m somebody
su somebody -c 'cd && id -un >me && test "$(cat me)" = somebody && test ! -r /etc/shadow'
perl -e 'my $pid = fork; exec qw(sleep 9) if !$pid; kill 9, $pid; waitpid $pid, 0; exit(($? & 127) != 9)'
test "$(find /usr -xdev -type f -print0 | xargs -0 stat -c %s | awk '{ s += $1 } END { print (s > 50000000) }')" = 1
test -z "$(dpkg --audit)"
