set -e
mkdir /root/build && cd /root/build
tar xz --strip-components=1
./configure -q --without-bash-malloc >/dev/null
make -s -j2 >/dev/null 2>&1
test "$(./bash -c 'printf %s "${BASH_VERSINFO[0]}" built')" = 5built
