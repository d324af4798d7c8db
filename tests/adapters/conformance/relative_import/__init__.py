from .batchnorm import *
