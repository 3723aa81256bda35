set -e
cd /root
cat >a.c <<'E'
#include <math.h>
#include <pthread.h>
#include <stdio.h>
static void *add(void *n)
{
    for (int i = 0; i < 100000; i++)
        __atomic_add_fetch((int *)n, 1, __ATOMIC_SEQ_CST);
    return 0;
}
int main(void)
{
    int n = 0;
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], 0, add, &n);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], 0);
    printf("%d %.3f\n", n, sqrt(2 + 0 * n));
    return 0;
}
E
for flags in -O0 -O2 '-O2 -static' '-O1 -pie -fstack-protector-all' '-O1 -flto'; do
    gcc -Wall $flags -o a a.c -pthread -lm
    test "$(./a)" = '400000 1.414'
done
printf 'all: x y\nx y: a.c\n\tgcc -c -o $@ a.c\n' >Makefile
make -s -j2
file x | grep -q relocatable
