# A compression of an archive.
# ROOT setup|run FOLDER
busybox=${1}bin/busybox
case $2 in
    setup) $busybox tar cf "$3/tree.tar" -C "${1}work" tree ;;
    run) $busybox gzip -c "$3/tree.tar" >"$3/tree.tar.gz" ;;
esac
