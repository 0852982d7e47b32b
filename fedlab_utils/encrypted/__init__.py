"""Sums of encrypted updates: the server adds ciphertexts that it cannot read.

The scheme is CKKS (Cheon, Kim, Kim, Song, eprint 2016/421) as in TenSEAL and Microsoft SEAL: half as many real numbers
as the ring has coefficients are encrypted at once, and adding two ciphertexts adds all of them. TenSEAL is imported
only when it is used.

**Who holds the key.** All hospitals share one secret key, made among themselves; the server gets nothing but the
parameters. Whoever has the key reads every ciphertext: one hospital that passes it to the server undoes everything. In
return a hospital gets the sum, never another's update, as long as the server passes on sums only.

**Raw decryptions never leave a hospital.** CKKS decrypts to the message *plus the noise of the encryption*, and from
two of TenSEAL's ciphertexts with their raw decryptions the key follows by linear algebra in a second (Li and
Micciancio, eprint 2020/1533). So hospitals round to a grid before they encrypt, and round the sum to the same grid
after they decrypt. The noise is far smaller than a step: what comes out is the exact sum of what went in, and says
nothing about the noise. This holds for sums of honest encryptions; a server that sends something else to be decrypted,
and sees what comes of it, is not covered.
"""

from fedlab_utils.encrypted.ciphertexts import MOST_BITS as MOST_BITS
from fedlab_utils.encrypted.ciphertexts import Parameters as Parameters
from fedlab_utils.encrypted.ciphertexts import add as add
from fedlab_utils.encrypted.ciphertexts import decrypt as decrypt
from fedlab_utils.encrypted.ciphertexts import encrypt as encrypt
from fedlab_utils.encrypted.ciphertexts import hospital_context as hospital_context
from fedlab_utils.encrypted.ciphertexts import server_context as server_context
from fedlab_utils.encrypted.sums import EncryptedSum as EncryptedSum
