# A shell that starts a program 1000 times; by its path, or it would use its own.
# ROOT setup|run FOLDER
[ "$2" = run ] || exit 0
true=${1}bin/true
i=0
while [ $i -lt 1000 ]; do
    $true || exit 1
    i=$((i + 1))
done
