"""The runner itself: a page with a block that fails, or that is not executed, is a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.runbooks.pages import PageProblem
from tests.runbooks.runner import RunbookFailed, execute

ENV = {"PATH": os.environ["PATH"]}
GOOD = """# A page

1. First set a variable:

   ```console
   $ NAME=somebody
   $ printf '%s\\n' one two "$NAME" \\
       four
   one
   …some…
   $ test "$NAME" = nobody  # exit 1
   $ cat <<END
   > here
   > END
   here
   ```

<!-- scene: a-file-appears -->

```sh
for word in a b; do
  echo "$word" >> words
done
```

```console
$ cat words file
...
b
it appeared
```

```text
This is shown, and never run.
```
"""


def run(folder: Path, text: str) -> list[str]:
    page = folder / "page.md"
    page.write_text(text)

    def appear() -> None:
        (folder / "file").write_text("it appeared\n")

    return [command.text for command in execute(page, folder, ENV, {"a-file-appears": appear})]


def test_every_block_is_executed_in_order(tmp_path: Path) -> None:
    done = run(tmp_path, GOOD)
    assert [text.split()[0] for text in done] == ["NAME=somebody", "printf", "test", "cat", "for", "cat"]
    assert (tmp_path / "words").read_text() == "a\nb\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("= nobody  # exit 1", "= nobody", "ended with 1, the page says 0"),
        ("= nobody  # exit 1", "= somebody  # exit 1", "ended with 0, the page says 1"),
        ("= nobody  # exit 1", "= nobody  # exit 2", "ended with 1, the page says 2"),
        ("…some…", "…others…", "did not print: …others…"),
        ("   one\n   …some…", "   …some…\n   one", "did not print: one"),
        ("it appeared\n```", "it vanished\n```", "did not print: it vanished"),
        ('"$NAME" \\', '"$NAMES" \\', "the shell has ended"),
        ("cat words file", "exit 0", "the shell has ended"),
        ('echo "$word" >> words', "vanish", "ended with 127"),
    ],
)
def test_a_command_that_does_something_else_is_a_failure(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    with pytest.raises(RunbookFailed, match=r"page\.md:") as caught:
        run(tmp_path, GOOD.replace(old, new))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        "\n```bash\n$ true\n```\n",
        "\n```\n$ true\n```\n",
        "\n```text\n$ true\n```\n",
        "\n```console\n$ true\n",
        "\n```console\ntrue\n```\n",
        "\n```console\n```\n",
        "\n* ```console\n  $ true\n  ```\n",
        "\n~~~ ```console\n",
        "\n~~~console\n$ true\n~~~\n",
        "\n    $ true\n",
        "\n<!-- scene: somebody-sings -->\n",
    ],
)
def test_a_block_that_would_not_be_executed_is_a_failure(tmp_path: Path, more: str) -> None:
    with pytest.raises(PageProblem):
        run(tmp_path, GOOD + more)


def test_a_happening_that_no_page_names_is_a_failure(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ true\n```\n")
    with pytest.raises(PageProblem, match="somebody-sings"):
        execute(page, tmp_path, ENV, {"somebody-sings": lambda: None})
