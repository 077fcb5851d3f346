"""The movie as other programs see it: Zarr in Python, C++, Rust and JavaScript, with no photon_gpu near."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import photon_gpu as pg
from tests.support.dj.movies import RECORDING, poisson
from tests.support.dj.tables import declare
from tests.support.npm import npm_install

A = poisson(3)


@pytest.fixture
def inserted(schema, store, request):
    """Return the full path of an inserted movie, the backend of its store, and the fetched movie."""
    backend = store(request.param)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 42, "movie": A})
    path = backend._full_path(f"{schema.database}/recording/recording_id=42/movie.zarr")
    return path, backend, table.fetch1("movie")


def python(code, folder, *arguments):
    """What a process prints that has everything installed but may not import photon_gpu."""
    guard = """
        import sys
        class Guard:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "photon_gpu":
                    raise AssertionError("photon_gpu was imported")
        sys.meta_path.insert(0, Guard())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(guard) + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("inserted", ["seaweed", "moto"], indirect=True)
def test_the_documented_lines_read_s3_without_photon_gpu(inserted, tmp_path):
    path, backend, movie = inserted
    python(
        """
        import zarr
        import fsspec
        import numpy as np
        fs = fsspec.filesystem(
            's3',
            endpoint_url=sys.argv[2],
            key='AK',
            secret='SK'
        )
        store = fs.get_mapper('s3://' + sys.argv[1])
        z = zarr.open(store, mode='r')
        frame = z[100]
        np.save("frame.npy", frame)
        np.save("all.npy", z[:])
        import json; json.dump(dict(z.attrs), open("attrs.json", "w"))
        """,
        tmp_path,
        path,
        f"http://{backend.spec['endpoint']}",
    )
    np.testing.assert_array_equal(np.load(tmp_path / "frame.npy"), movie[100])
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), movie[...])
    assert json.loads((tmp_path / "attrs.json").read_text()) == movie.attrs


@pytest.mark.parametrize("inserted", ["file"], indirect=True)
def test_zarr_reads_a_local_path(inserted, tmp_path):
    path, _, movie = inserted
    python("import zarr, numpy; numpy.save('all.npy', zarr.open(sys.argv[1], mode='r')[:])", tmp_path, path)
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), movie[...])


@pytest.mark.parametrize("inserted", ["gcs"], indirect=True)
def test_zarr_reads_google_cloud_storage(inserted, tmp_path):
    path, backend, movie = inserted
    python(
        """
        import os; os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
        import zarr, fsspec, numpy
        fs = fsspec.filesystem('gs', token='anon', project='p', endpoint_url=sys.argv[2])
        numpy.save('all.npy', zarr.open(fs.get_mapper('gs://' + sys.argv[1]), mode='r')[:])
        """,
        tmp_path,
        path,
        backend.spec["endpoint"],
    )
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), movie[...])


@pytest.mark.parametrize("inserted", ["file", "seaweed"], indirect=True)
def test_cpp_reads_an_inserted_movie(inserted, tmp_path):
    """tensorstore, a C++ library."""
    pytest.importorskip("tensorstore", reason="pip install tensorstore")
    path, backend, movie = inserted
    if backend.protocol == "file":
        kvstore = {"driver": "file", "path": path + "/"}
    else:
        bucket, key = path.split("/", 1)
        kvstore = {
            "driver": "s3",
            "bucket": bucket,
            "path": key + "/",
            "endpoint": f"http://{backend.spec['endpoint']}",
            "aws_region": "us-east-1",
            "aws_credentials": {"type": "anonymous"},
        }
    python(
        """
        import json, numpy, tensorstore
        spec = {"driver": "zarr", "kvstore": json.loads(sys.argv[1])}
        array = tensorstore.open(spec, read=True).result()
        numpy.save("all.npy", array.read().result())
        """,
        tmp_path,
        json.dumps(kvstore),
    )
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), movie[...])


@pytest.mark.parametrize("inserted", ["file"], indirect=True)
def test_rust_reads_an_inserted_movie(inserted, tmp_path):
    """zarrs, a Rust library, by way of its Python binding; it may not fall back to Python."""
    pytest.importorskip("zarrs", reason="pip install zarrs")
    path, _, movie = inserted
    ran = python(
        """
        import warnings; warnings.simplefilter("error")
        import numpy, zarr, zarrs
        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True})
        array = zarr.open(sys.argv[1], mode="r")
        numpy.save("all.npy", array[:])
        print(type(array._async_array.codec_pipeline).__name__)
        """,
        tmp_path,
        path,
    )
    assert ran.strip() == "ZarrsCodecPipeline"
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), movie[...])


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """A folder in which Node finds zarrita."""
    folder = tmp_path_factory.mktemp("node")
    npm_install(folder, "zarrita@0.5", "@zarrita/storage@0.1")
    return folder


@pytest.mark.parametrize("inserted", ["file", "seaweed"], indirect=True)
def test_javascript_reads_an_inserted_movie(inserted, node):
    path, backend, movie = inserted
    code = """
        import * as zarr from "zarrita";
        import { FileSystemStore, FetchStore } from "@zarrita/storage";
        import { writeFileSync } from "fs";
        const url = process.argv[2];
        const store = url.startsWith("http") ? new FetchStore(url) : new FileSystemStore(url);
        const array = await zarr.open.v2(store, { kind: "array" });
        const all = await zarr.get(array);
        writeFileSync("all.bin", new Uint8Array(all.data.buffer));
        console.log(JSON.stringify({ shape: all.shape, attrs: array.attrs, dtype: array.dtype }));
    """
    (node / "read.mjs").write_text(textwrap.dedent(code))
    where = path if backend.protocol == "file" else f"http://{backend.spec['endpoint']}/{path}"
    done = subprocess.run(["node", "read.mjs", where], cwd=node, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["dtype"] == "float64"
    assert printed["attrs"] == movie.attrs
    read = np.fromfile(node / "all.bin").reshape(printed["shape"])
    np.testing.assert_array_equal(read, movie[...])


@pytest.mark.parametrize("service", ["seaweed", "gcs"])
def test_the_engine_takes_urls(dj, store, service):
    """The same bytes by way of ``pg.encode`` and ``pg.open`` with storage options."""
    backend = store(service)
    path = backend._full_path("movie.zarr")
    if service == "gcs":
        url = f"gs://{path}"
        options = {"token": "anon", "project": "p", "endpoint_url": backend.spec["endpoint"]}
    else:
        url = f"s3://{path}"
        options = {"key": "AK", "secret": "SK", "endpoint_url": f"http://{backend.spec['endpoint']}"}
    pg.encode(A, url, storage_options=options, noise=pg.NoiseModel())
    movie = pg.open(url, storage_options=options)
    assert movie.url == url
    np.testing.assert_allclose(movie[...], pg.anscombe(A), atol=0.25 + 1e-9)
    copy = f"{url.removesuffix('.zarr')}-compact.zarr"
    pg.encode(movie.counts, copy, layout="compact", storage_options=options, noise=pg.NoiseModel())
    np.testing.assert_array_equal(pg.open(copy, storage_options=options)[...], movie[...])
