"""What two commands that do the same work on other things have in common."""

from __future__ import annotations

import random

import pytest

from fastsched.patterns import shape_of

SHAPES = {
    "python fit.py --fold 3 --out /data/a/fold3.bin": "python fit.py --fold {n} --out {path}.bin",
    "python3 -u scripts/train.py --lr=1e-3 --seed=42": "python3 -u train.py --lr={n} --seed={n}",
    "sort -u data.csv > clean.csv": "sort -u {path}.csv > {path}.csv",
    "curl -sO https://example.org/data.tar.gz": "curl -sO {path}.tar.gz",
    "/usr/bin/env MODE=3 bash run.sh a1b2c3d4e5f": "env MODE={n} bash run.sh {hash}",
    "load 2024-05-01 2024-05-01T12:30:00Z 12:30": "load {date} {date} {date}",
    "fetch 123e4567-e89b-12d3-a456-426614174000": "fetch {hash}",
    "sleep 0.5; touch out/done": "sleep {n}; touch {path}",
    "./split_fasta 1000 large.fasta": "split_fasta {n} {path}.fasta",
    "gcc -I/usr/include -O2 -c a.c -o a.o && strip a.o": "gcc -I{path} -O{n} -c {path}.c -o {path}.o && strip {path}.o",
    "timeout 30 nice -n 10 python a.py": "timeout {n} nice -n {n} python a.py",
    "python -m pkg.mod --n 5": "python -m pkg.mod --n {n}",
    "java -Xmx4G -jar tool.jar": "java -Xmx{n}G -jar tool.jar",
    "cat /data/x | grep -c foo": "cat {path} | grep -c foo",
    'wc -l "my.txt"': "wc -l {path}.txt",
    "true": "true",
    "": "",
}


@pytest.mark.parametrize("command", SHAPES)
def test_what_varies_becomes_its_kind_and_the_rest_stays(command):
    assert shape_of(command) == SHAPES[command]


def test_what_does_other_work_has_another_shape():
    commands = ("python a.py 1", "python b.py 1", "sort x.csv", "sort -u x.csv", "sort x.bam", "bowtie2 x", "bowtie3 x")
    assert len({shape_of(command) for command in commands}) == len(commands)


def test_an_argument_vector_has_the_shape_of_its_words():
    assert shape_of(("sort", "-k", "3", "/data/in 7.csv")) == shape_of("sort -k 3 /data/in 7.csv")


def test_the_shape_of_a_shape_is_that_shape():
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    pieces = [
        *(
            "python3",
            "x.py",
            "-c",
            "--n=3",
            "1e-9",
            "/a/b.tar.gz",
            "2024-01-02",
            "a1b2c3d4",
            "|",
            "&&",
            "x;",
            "'q",
            '"/p"',
        ),
        *(
            "=",
            "-",
            "--",
            "{n}",
            "0x1F",
            "12:30",
            "A=1",
            "B=/x.y",
            ".",
            "..",
            "é3",
            ">o.txt",
            "2>&1",
            "1,2,3",
            "(",
            "a=b=c3",
            "-I/u/x.h5",
        ),
    ]
    for _ in range(3000):
        words = [
            chance.choice(pieces) + chance.choice(("", "", "7", ".csv", "/", ";")) for _ in range(chance.randrange(9))
        ]
        shape = shape_of(" ".join(words))
        assert shape_of(shape) == shape, f"seed {seed}: {words}"


def test_a_script_of_any_length_takes_no_longer_than_its_beginning():
    long = "work " + "3 " * 1_000_000
    assert len(shape_of(long)) < 2000
    assert shape_of(shape_of(long)) == shape_of(long)
