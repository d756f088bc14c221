"""The recipes of docs/services.md as they stand there: green, then red where the service answers wrongly.

Frameworks come from a package index; PostgreSQL and Redis are programs of the machine.
"""

import os
import re
import shutil
import socket
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.gate.e2e.test_confirm import git
from tests.gate.e2e.test_layouts import Place, judged
from tests.gate.e2e.test_own_base import IGNORED, of, write
from tests.gate.e2e.test_plugins import PYTEST

PACKAGES: Final = (
    "alembic==1.20.1", "django==5.2.19", "fastapi==0.165.0", "flask==3.1.3", "gunicorn==27.0.1",
    "psycopg[binary]==3.3.9", "redis==8.1.0", "rq==3.0.0", "sqlalchemy==2.1.9", "uvicorn==0.54.0",
)  # fmt: skip
PAGE = Path(__file__).parents[3] / "docs" / "services.md"

FETCH = """
import os, urllib.request

def fetch(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['GATE_PORT']}{path}", timeout=9) as answer:
        return answer.read().decode()

def test_price(measure):
    assert measure("shop.price", fetch, "/price/3") == "30"
"""
DATABASE = "sqlite3.connect(os.environ['DATABASE'])"
FLASK = f"""
import os, sqlite3
from flask import Flask

app = Flask(__name__)

@app.cli.command("init-db")
def init_db():
    with {DATABASE} as data:
        data.execute("create table item (id integer primary key, price integer)")
        data.executemany("insert into item values (?, ?)", [(n, 10 * n) for n in range(9)])

@app.get("/price/<int:n>")
def price(n):
    with {DATABASE} as data:
        return str(data.execute("select price from item where id = ?", (n,)).fetchone()[0])
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os

ROOT_URLCONF, SECRET_KEY, ALLOWED_HOSTS, INSTALLED_APPS = "urls", "x", ["*"], ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
"""
MODELS = """
from django.db import models

class Item(models.Model):
    price = models.IntegerField()
"""
MIGRATION = """
from django.db import migrations, models

def fill(apps, schema):
    item = apps.get_model("shop", "Item")
    item.objects.bulk_create([item(id=n, price=10 * n) for n in range(1, 9)])

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Item", [
            ("id", models.AutoField(primary_key=True)), ("price", models.IntegerField()),
        ]),
        migrations.RunPython(fill),
    ]
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

def price(request, n):
    from shop.models import Item
    return HttpResponse(str(Item.objects.get(id=n).price))

urlpatterns = [path("price/<int:n>", price)]
"""
FASTAPI = """
import os
from fastapi import FastAPI, Response
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))

@app.get("/health")
def health():
    return {}

@app.get("/price/{n}")
def price(n: int):
    with engine.connect() as data:
        return Response(str(data.execute(text("select price from item where id = :n"), {"n": n}).scalar()))
"""
ALEMBIC = {
    "alembic.ini": "[alembic]\nscript_location = migrations\n",
    "migrations/env.py": """
import os
from alembic import context
from sqlalchemy import create_engine

url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
""",
    "migrations/versions/one.py": """
from alembic import op

revision, down_revision = "one", None

def upgrade():
    op.execute("create table item (id int primary key, price int)")
    op.execute("insert into item select n, 10 * n from generate_series(1, 9) n")
""",
}
JOBS = """
def price(n):
    return 10 * n
"""
QUEUE = """
import os, time
from redis import Redis
from rq import Queue

def test_price(measure):
    queue = Queue(connection=Redis(port=int(os.environ["GATE_PORT_REDIS"])))
    job = queue.enqueue("shop.price", 3)
    for _ in range(1000):
        if job.get_status(refresh=True) in ("finished", "failed"):
            break
        time.sleep(0.01)
    assert job.return_value() == 30
    measure.count("shop.jobs", 1)
"""


def _always() -> str:
    return ""


def _programs(*names: str) -> Callable[[], str]:
    return lambda: next((f"no program {name}" for name in names if shutil.which(name) is None), "")


def _own_postgres() -> str:
    return _programs("initdb", "postgres")() or ("initdb refuses root" if os.geteuid() == 0 else "")


def _shared_postgres() -> str:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 5432)):
            return "no PostgreSQL at port 5432"
    return "" if "PGPASSWORD" in os.environ else "PGPASSWORD is not set"


FAST = {"shop/__init__.py": "", "shop/main.py": FASTAPI, "tests/test_a.py": FETCH, **ALEMBIC}
RECIPES: Final = {
    "own database server": ("FastAPI and PostgreSQL", 0, _own_postgres, FAST, "shop/main.py", ".scalar()"),
    "shared server": ("FastAPI and PostgreSQL", 1, _shared_postgres, FAST, "shop/main.py", ".scalar()"),
    "Flask": (
        "Flask and SQLite", 0, _always,
        {"shop.py": FLASK, "tests/test_a.py": FETCH}, "shop.py", "fetchone()[0]",
    ),
    "Django": (
        "Django", 0, _always,
        {"manage.py": MANAGE, "site_settings.py": SETTINGS, "urls.py": URLS, "shop/__init__.py": "",
         "shop/models.py": MODELS, "shop/migrations/__init__.py": "",
         "shop/migrations/0001_initial.py": MIGRATION,
         "tests/test_a.py": FETCH}, "urls.py", "get(id=n).price",
    ),
    "worker": (
        "A worker with Redis", 0, _programs("redis-server"),
        {"shop.py": JOBS, "tests/jobs/test_a.py": QUEUE}, "shop.py", "10 * n",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An environment of its own to the last package: the services' programs run in it."""
    root = tmp_path_factory.mktemp("recipes")
    venv.create(root / "venv", with_pip=True)
    made = Place(root / "venv/bin")
    done = made.run(root, "python", "-m", "pip", "install", "--quiet", str(wheel), *PYTEST, *PACKAGES)
    if done.returncode and "(from versions: none)" in done.stderr:
        pytest.skip(f"no package index: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return made


def rules(heading: str, number: int) -> str:
    """The recipe as it stands on the page; where it leaves that out, with a suite."""
    section = re.split(r"^##+ ", PAGE.read_text(), flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(heading)]
    recipe = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[number]
    services = list(yaml.safe_load(recipe)["services"])
    suites = (
        "" if "suites:" in recipe else f"suites: {{api: {{run: pytest tests, needs: [{services[-1]}]}}}}\n"
    )
    return f"version: 1\n{recipe}{suites}defaults: {{budget: 40 s, confirm: suspects}}\n"


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe(place: Place, tmp_path: Path, name: str):
    heading, number, missing, files, file, answer = RECIPES[name]
    if why := missing():
        pytest.skip(why)
    kept = {variable: os.environ[variable] for variable in ("PGPASSWORD",) if variable in os.environ}
    here = Place(place.scripts, kept)
    root = tmp_path
    setup = {"thresholds.yaml": rules(heading, number), ".gitignore": IGNORED, "pytest.ini": "[pytest]\n"}
    write(root, {**setup, **files, "note.txt": "1"})
    git(root, "init", "-q", "-b", "main")
    for text in ("1", "2"):
        write(root, {"note.txt": text})
        git(root, "add", "--all")
        git(root, "commit", "-q", "-m", text)
    code, verdict, said = judged(here, root)
    assert code == 0, said
    assert verdict["summary"]["tests"]["passed"] == 1
    write(root, {file: files[file].replace(answer, f"{answer} + 1")})
    git(root, "commit", "-qam", "wrong")
    code, verdict, said = judged(here, root)
    assert code == 1, said
    [failure] = of(verdict, "new-failure")
    assert re.search(r"\b0 of [123] on the base", failure["message"]), failure
