from tests.router.world import keys

__all__ = ["keys"]
