"""Where the public sets can be fetched, with their checksums: the one place to mend when a link dies.

All from one mirror that the field uses, each file at the revision whose SHA-256 the mirror publishes. The terms of each
set are its authors', whatever the mirror says: see the set's docstring.
"""

from __future__ import annotations

from lml_iqa.datasets.download import Archive

_MIRROR = "chaofengc/IQA-PyTorch-Datasets"


def _mirrored(revision: str, name: str, sha256: str, size: int) -> tuple[Archive, ...]:
    return (Archive(_MIRROR, revision, name, sha256, size),)


CSIQ = _mirrored(
    "3a1693ce3aec04ddf5670eb70fe43a58cc709a1c",
    "csiq.tgz",
    "e34c372c98e751c5490dadeb536e37666296b6c4f651df30cc04c0547ffee5b0",
    379062485,
)
TID2013 = _mirrored(
    "1cbf2a1fb8e785166b5258babd37bad4949dd8cb",
    "tid2013.tgz",
    "ac92094b1469ec0dff181a553b8c84302606ba99f81e38652532cadac886d735",
    1227227546,
)
KADID10K = _mirrored(
    "d378319b35bc59b83dec155c3afbaf4e85bf3149",
    "kadid10k.tgz",
    "841396f9237e68c8e6614d5dc907a8fd83d4f403cce89ee2c14524406405b14a",
    3069431805,
)
LIVEC = _mirrored(
    "e198fc3981f8f4fb2909fb53ce1a9638aef3deaf",
    "live_challenge.tgz",
    "cdd7a6227de40df10cfd5daf8d19894e95200fa0ca5655bbe50fd433d3b31f25",
    325992044,
)
KONIQ10K = _mirrored(
    "6545abd7b3a8556cac11cf9ca5a567cb593e3f60",
    "koniq10k.tgz",
    "18f4b664fed41ffdf37dd5cae6921901d86afddd952fdfa3d77eda25cc48370b",
    6348641188,
)
FLIVE = _mirrored(
    "1e79c0cc3f65696429765193be32eb1e9510b49f",
    "flive.tgz",
    "85d257ebb00b99ff998e6aa4276be5cbd4762699874f57bcbf3261e441961696",
    5414976833,
)
SPAQ = _mirrored(
    "38ae5dc5019b596e953a6f80f7fcf6b009625766",
    "spaq.tgz",
    "54e0cb49dc8359f9293e746d452d8b12ec653056c9b12a4f97798a984c7418f7",
    34841101349,
)
