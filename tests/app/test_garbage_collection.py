import gc

from airy.app.garbage_collection import YOUNGEST_OBJECTS_MAX, rare_collections


def test_what_exists_when_the_tree_starts_is_not_visited_by_collections() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == (YOUNGEST_OBJECTS_MAX, *before[1:])
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
