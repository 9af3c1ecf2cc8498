import functools
import hashlib
import http.server
import re
import tarfile
import threading

import pytest
from data.benchmarks import LAYOUTS

from lml_iqa.datamodules import TID2013DataModule
from lml_iqa.datasets import BENCHMARKS, TID2013
from lml_iqa.datasets.download import Archive
from lml_iqa.main import main


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda b: b.name)
def test_archives_are_pinned_and_verifiable(benchmark):
    if benchmark.name in {"LIVE", "BIQ2021"}:
        assert not benchmark.archives
        assert "https://" in benchmark.access
    else:
        (archive,) = benchmark.archives
        assert re.fullmatch(r"https://[^ ]+/datasets/[\w/-]+/resolve/[0-9a-f]{40}/\w+\.tgz", archive.url)
        assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
        assert archive.size > 10**8


@pytest.fixture
def served(tmp_path, monkeypatch):
    """TID2013's address leads to a tiny copy on loopback, packed below a folder as the mirror packs it."""
    LAYOUTS["tid2013"](tmp_path / "made" / "tid2013")
    packed = tmp_path / "www" / "tid2013.tgz"
    packed.parent.mkdir()
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(tmp_path / "made" / "tid2013", "tid2013")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=packed.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(Archive, "url", f"http://127.0.0.1:{server.server_port}/tid2013.tgz")
        checksum = hashlib.sha256(packed.read_bytes()).hexdigest()
        monkeypatch.setattr(TID2013, "archives", (Archive("", "", "tid2013.tgz", checksum, packed.stat().st_size),))
        yield packed
        server.shutdown()


def test_download_and_train(served, tmp_path):
    root = tmp_path / "data"
    main(
        ["fit", "--data=TID2013DataModule", f"--data.root={root}", "--data.download=true", "--data.num_workers=0"]
        + ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"]
        + ["--trainer.accelerator=cpu", "--trainer.fast_dev_run=true"]
    )
    table = TID2013(tmp_path / "made").load()
    assert TID2013(root).load().digest() == table.digest()
    served.unlink()  # what is there is not fetched again
    TID2013DataModule(root, download=True).prepare_data()


def test_a_corrupted_download_stops_the_run(served, tmp_path):
    served.write_bytes(served.read_bytes()[:-1] + b"x")
    with pytest.raises(SystemExit, match=r"tid2013\.tgz: the SHA-256 is .* the file was removed; run again"):
        main(
            ["fit", "--data=TID2013DataModule", f"--data.root={tmp_path / 'data'}", "--data.download=true"]
            + ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"]
            + ["--trainer.accelerator=cpu", "--trainer.fast_dev_run=true"]
        )
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".download.lock"]
