set -e
cd /root
export GIT_CONFIG_GLOBAL=/root/config
git config --global user.email a@b && git config --global user.name n && git config --global init.defaultBranch main
git init -q r && cd r
for n in $(seq 50); do seq $n $((n * 100)) >f$n; done
git add . && git commit -qm one
git checkout -qb other && echo x >>f1 && git commit -qam two && git checkout -q main && echo y >>f2 && git commit -qam three
git merge -q other -m merged && git gc -q && git fsck --strict
cd .. && git clone -q r c && git clone -q --no-hardlinks --bare r b
cd c && git fsck && test "$(git rev-list --count HEAD)" = 4
echo z >new && git add new && git commit -qm four && git push -q ../b main
test "$(git -C ../b log -1 --format=%s)" = four
test -z "$(git status --porcelain)"
