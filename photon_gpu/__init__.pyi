from . import nwb as nwb
from .check.fidelity.fidelity import fidelity as fidelity
from .check.integrity.repair import repair as repair
from .check.integrity.verify import verify as verify
from .cluster.encode_many import encode_many as encode_many
from .engine.codec.blosc import Compressor as Compressor
from .engine.codec.predictors import Predictor as Predictor
from .engine.model.anscombe import anscombe as anscombe
from .engine.model.anscombe import inverse_anscombe as inverse_anscombe
from .engine.model.anscombe import inverse_anscombe_unbiased as inverse_anscombe_unbiased
from .engine.model.noise import NoiseModel as NoiseModel
from .errors import FidelityWarning as FidelityWarning
from .errors import PhotonError as PhotonError
from .errors import PhotonWarning as PhotonWarning
from .estimate import NoiseEstimate as NoiseEstimate
from .estimate import estimate_noise as estimate_noise
from .live.recovery.recover import recover as recover
from .live.writer import LiveWriter as LiveWriter
from .reader.movie import Movie as Movie
from .reader.open import open as open
from .sources.open import open_source as open_source
from .sources.simulated.movie import simulate as simulate
from .sources.simulated.parameters import Simulation as Simulation
from .store.storage import Storage as Storage
from .tools.choice.choose import choose as choose
from .tools.choice.result import Choice as Choice
from .writer.encode import encode as encode
from .writer.movie_to_insert import movie as movie
from .writer.report import EncodeReport as EncodeReport

__all__ = [
    "Choice",
    "Compressor",
    "EncodeReport",
    "FidelityWarning",
    "LiveWriter",
    "Movie",
    "NoiseEstimate",
    "NoiseModel",
    "PhotonError",
    "PhotonWarning",
    "Predictor",
    "Simulation",
    "Storage",
    "anscombe",
    "choose",
    "encode",
    "encode_many",
    "estimate_noise",
    "fidelity",
    "inverse_anscombe",
    "inverse_anscombe_unbiased",
    "movie",
    "nwb",
    "open",
    "open_source",
    "recover",
    "repair",
    "simulate",
    "verify",
]

__version__: str
