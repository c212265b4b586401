# Tests docs/clients.md and docs/clients: that their code is that of the handlers, and that the SQL does what it
# says, on each route.
#
#   docs.py            ends with "N passed, N failed"
#   docs.py --write    puts the code of the handlers into the pages
#
# A block of code follows a comment that names a file and a region of it. As in test/t/090_docs.pl, each sql
# block is run, a text block right behind it is what it prints, and "-- ERROR <SQLSTATE>" says that it fails so.
import glob
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import harness  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(harness.HERE))
PAGES = [f'{ROOT}/docs/clients.md', *sorted(glob.glob(f'{ROOT}/docs/clients/*.md'))]
MARKED = re.compile(r'^<!-- (\S+): (\w+) -->\n(```\w+\n)(.*?)^```$', re.M | re.S)
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.M | re.S)
CODE = ('js', 'python', 'java')

results = {True: 0, False: 0}


def ok(good, what):
    results[good] += 1
    if not good:
        print(f'not ok - {what}')


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


def write():
    def filled(match):
        path, name, fence, _ = match.groups()
        return f'<!-- {path}: {name} -->\n{fence}{harness.region(f"{ROOT}/{path}", name)}```'
    for page in PAGES:
        text = MARKED.sub(filled, read(page))
        with open(page, 'w', encoding='utf-8') as file:
            file.write(text)


def check_code():
    shown = set()
    for page in PAGES:
        text = read(page)
        marked = MARKED.findall(text)
        for path, name, _, body in marked:
            shown.add((path, name))
            ok(body == harness.region(f'{ROOT}/{path}', name), f'{path}, {name}: docs.py --write brings it into {page}')
        ok(sum(kind in CODE for kind, _ in BLOCK.findall(text)) == sum(fence[3:-1] in CODE for _, _, fence, _ in marked),
           f'{page}: every block of code is of a file')
    for file in glob.glob(f'{harness.HERE}/**/*.*', recursive=True):
        if file.endswith(('.sql', '.js', '.py', '.java')) and '/node_modules/' not in file:
            for name in re.findall(r'^\s*(?:#|//|--) \[(\w+)\]$', read(file), re.M):
                ok((os.path.relpath(file, ROOT), name) in shown, f'{file}: [{name}] is in a page')


def plain(text):
    """What psql printed, or should print, without what may differ."""
    lines = (re.sub(r'\s*\|\s*', '|', line).strip() for line in text.split('\n'))
    return [line for line in lines
            if line and not re.fullmatch(r'[-+]+|\(\d+ rows?\)', line)]


def check_sql(page, route):
    database = f'docs_{route}'
    harness.with_database('postgres', f'CREATE DATABASE {database}')
    environment = {**os.environ, 'PGDATABASE': database}
    if route == 'pgbouncer':
        environment.update(PGHOST='127.0.0.1', PGPORT=os.environ['CLIENTS_PORT_pgbouncer'],
                           PGPASSWORD=os.environ['CLIENTS_PASSWORD'])
    blocks = [('sql', 'CREATE EXTENSION pg_keep;\n')] + BLOCK.findall(page)
    for i, (kind, body) in enumerate(blocks):
        if kind != 'sql':
            continue
        body = body.replace('CREATE ROLE shop_app LOGIN;\n', '')        # one for all databases
        where = f'{route}: {body.split(chr(10), 1)[0]}'
        done = subprocess.run(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=sqlstate'], input=body,
                              env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        wanted = re.search(r'^-- ERROR (\w{5})$', body, re.M)
        if wanted:
            ok(f'ERROR:  {wanted.group(1)}' in done.stderr, f'{where} fails with {wanted.group(1)}: {done.stderr}')
            continue
        ok(done.returncode == 0, f'{where} runs: {done.stderr}')
        if i + 1 < len(blocks) and blocks[i + 1][0] == 'text' and f'{body}```\n```text\n' in page:
            got, said = plain(done.stdout), plain(blocks[i + 1][1])
            ok(got == said, f'{where} prints what it says\n    got    {got}\n    wanted {said}')


if sys.argv[1:] == ['--write']:
    write()
else:
    check_code()
    for each in ('direct', 'pgbouncer'):
        check_sql(read(PAGES[0]), each)
    print(f'{results[True]} passed, {results[False]} failed')
    sys.exit(results[False] > 0)
