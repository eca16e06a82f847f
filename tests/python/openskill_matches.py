"""Rates matches with openskill.py: a JSON list on stdin, its ratings on stdout.

Each match is {"players": [[mu, sigma, score], ...], "beta": number, "tau": number}.
No score may be exactly 0.0, which the package takes for a missing one.
"""

import json
import sys

from openskill.models import PlackettLuce

rated = []
for match in json.load(sys.stdin):
    model = PlackettLuce(beta=match["beta"], tau=match["tau"])
    teams = [[model.rating(mu=mu, sigma=sigma)] for mu, sigma, _ in match["players"]]
    teams = model.rate(teams, scores=[score for _, _, score in match["players"]])
    rated.append([[team[0].mu, team[0].sigma] for team in teams])
json.dump(rated, sys.stdout)
