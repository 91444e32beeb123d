"""The documentation becomes a site, and each of its links leads somewhere."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_site_is_built_strictly_and_has_every_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "site" / page.stem / "index.html").stat().st_size > 2000, page
    first = (tmp_path / "site" / "index.html").read_text()
    assert 'href="quickstart/"' in first
    assert 'src="images/latency_report.png"' in first
    assert (tmp_path / "site" / "images" / "latency_report.png").exists()
