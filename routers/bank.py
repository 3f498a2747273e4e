"""What the bank simulator offers to test with."""

from fastapi import APIRouter

from routers.dependencies import PspDep
from routers.roles import API
from routers.route import PspRoute
from schemas.bank import ScenarioList, scenario_list

router = APIRouter(prefix=f"{API}/bank", route_class=PspRoute, tags=["Test cards"])


@router.get("/scenarios")
async def list_scenarios(psp: PspDep) -> ScenarioList:
    """The test cards: each number, and what happens when it is charged. Any other valid number succeeds."""
    return scenario_list(magic_amounts=psp.settings.magic_amounts)
