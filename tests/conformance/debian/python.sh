set -e
cd /root
python3 -m venv v
python3 - <<'E'
import zipfile
with zipfile.ZipFile('greeter-1.0-py3-none-any.whl', 'w') as z:
    z.writestr('greeter.py', 'def main():\n    print("hello")\n')
    info = 'greeter-1.0.dist-info/'
    z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n')
    z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    z.writestr(info + 'entry_points.txt', '[console_scripts]\ngreeter = greeter:main\n')
    z.writestr(info + 'RECORD', 'greeter.py,,\n')
E
v/bin/pip install -q --no-index --disable-pip-version-check --root-user-action ignore ./greeter-1.0-py3-none-any.whl
test "$(v/bin/greeter)" = hello
cat >work.py <<'E'
import asyncio, concurrent.futures, multiprocessing, signal, socket, subprocess

async def children():
    child = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    assert (await child.communicate(b'abc'))[0] == b'abc'
    assert await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(20))) == list(range(20))

if __name__ == '__main__':
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda n: n * n, range(1000))) == 332833500
    with multiprocessing.Pool(3) as pool:
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
    assert subprocess.run(['sh', '-c', 'cat; exit 3'], input=b'x', capture_output=True).returncode == 3
    asyncio.run(children())
    a, b = socket.socketpair()
    a.sendall(b'hello')
    assert b.recv(9) == b'hello'
    hit = []
    signal.signal(signal.SIGALRM, lambda *_: hit.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    signal.pause()
    assert hit
E
python3 work.py
