"""Names stay below their folder, tell nothing to a terminal, and no two pictures share a stem."""

from __future__ import annotations

from typing import Any

from bulkinfer.transforms.exports.reading.names import Names, path_of, suffix_of
from hypothesis import given
from hypothesis import strategies as st


def named(*rows: tuple[str, str | None, int | None, int]) -> list[str]:
    names = Names()
    names.add(rows)
    names.close()
    return [names.of(*row) for row in rows]


def of_uris(*uris: str) -> list[str]:
    return named(*[(uri, uri, None, 0) for uri in uris])


def test_a_name_is_the_path_below_the_common_folder() -> None:
    assert of_uris("s3://b/x/a/1.jpg", "s3://b/x/2.jpg") == ["a/1.jpg", "2.jpg"]
    assert of_uris("/data/1.jpg") == ["1.jpg"]
    assert of_uris("https://h/p/1.jpg?token=x", "https://other/p/2.jpg") == ["1.jpg", "2.jpg"]


def test_what_climbs_stays_below() -> None:
    assert path_of("../../etc/passwd", "x") == "etc/passwd"
    assert path_of("/a/../../b/./c.jpg", "x") == "a/b/c.jpg"
    assert path_of(None, "..") == "unnamed"
    assert path_of("s3://b/a\\..\\c.jpg", "x") == "a_.._c.jpg"


def test_signs_that_nobody_sees_are_left_out() -> None:
    assert path_of("a/\x1b[31mred\n\u202egpj.exe", "x") == "a/_[31mred__gpj.exe"


def test_a_long_part_is_cut_and_keeps_its_suffix() -> None:
    one, other = path_of("x" * 10_000 + "1.jpg", ""), path_of("x" * 10_000 + "2.jpg", "")
    assert one != other
    assert max(len(one), len(other)) <= 170
    assert one.endswith(".jpg")


def test_two_of_one_stem_get_names_of_their_own() -> None:
    first, second, third = of_uris("d/a.jpg", "d/a.PNG", "d/b.jpg")
    assert third == "b.jpg"
    assert len({first.removesuffix(".jpg"), second.removesuffix(".PNG")}) == 2
    assert of_uris("d/a.jpg", "d/a.PNG", "e/a.jpg", "e/a.png")[0].endswith("a~" + first[2:10] + ".jpg")


def test_frames_are_named_as_pictures() -> None:
    rows: list[Any] = [
        ("v/a.mp4", "v/a.mp4", 3, 3),
        ("v/a.txt", "v/a.txt", None, 0),
        ("v/a.txt", "v/a.txt", None, 1),
    ]
    assert named(*rows) == ["a.mp4_frame000003.jpg", "a.txt", "a.txt_output000001"]


@given(st.lists(st.text(), max_size=6, unique=True))
def test_all_names_differ_and_stay_below(ids: list[str]) -> None:
    names = named(*[(one, None, None, 0) for one in ids])
    stems = {name.removesuffix(suffix_of(name)).casefold() for name in names}
    assert len(stems) == len(ids)
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert name.isprintable() or all(char not in name for char in "\n\r\x1b\\")
        assert len(name.encode("utf-8", "replace")) < 255 * (name.count("/") + 1)
