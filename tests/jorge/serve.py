"""The API as a service of its own: `uvicorn tests.jorge.serve:app`."""

from tests.jorge.app import create_app
from tests.jorge.bots import Bots
from tests.jorge.transports import Simulation

app = create_app(Bots.over(Simulation.start().services))
