# A search through 10,000 files in 100 folders.
# ROOT setup|run FOLDER
set -e
busybox=${1}bin/busybox
if [ "$2" = setup ]; then
    files=$($busybox seq 100)
    for folder in $files; do
        $busybox mkdir "$3/$folder"
        cd "$3/$folder"
        $busybox touch $files
    done
else
    [ "$($busybox find "$3" -type f | $busybox wc -l)" -eq 10000 ]
fi
