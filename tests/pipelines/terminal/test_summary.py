"""The summary tells what a person would not look for."""

from __future__ import annotations

from bulkinfer.pipelines.terminal.summary import Summary


def test_masks_that_cannot_be_read_are_counted_and_where_to_look_is_said() -> None:
    summary = Summary("r1", inputs=2, predictions=2, masks=9, masks_unreadable=3, output="out")

    assert "3 of the masks cannot be read: `note` in out/masks/ says why" in summary.to_text(
        "bulkinfer run job.yaml"
    )
    assert summary.to_json()["masks_unreadable"] == 3
    assert summary.exit_code == 0
    assert "cannot be read" not in Summary("r1", masks=9).to_text("bulkinfer run job.yaml")
