# An archive of a source tree.
# ROOT setup|run FOLDER
busybox=${1}bin/busybox
case $2 in
    setup) $busybox cp -r "${1}work/tree" "$3/tree" ;;
    run) $busybox tar cf "$3/tree.tar" -C "$3" tree ;;
esac
