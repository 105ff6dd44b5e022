"""The proofs of RFC 9449, sections 4.1 to 7.1."""

import pytest
from starkeel_auth import ProofError, ProofVerifier

_HEADER = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpD"
    "a0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6"
    "IlAtMjU2In19"
)
TOKEN_PROOF = (
    f"{_HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29t"
    "L3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK"
    "70nfbV37xRZT3Lg"
)
RESOURCE_PROOF = (
    f"{_HEADER}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9y"
    "Zy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0"
    "NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
RFC_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
RFC_THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
RFC_RESOURCE = "https://resource.example.org/protectedresource"


def test_the_proofs_of_the_rfc_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = ProofVerifier()
    monkeypatch.setattr("starkeel_auth._tokens.dpop.time", lambda: 1562262618.0)

    at_token_endpoint = verifier.verify(TOKEN_PROOF, method="POST", url="https://server.example.com/token")
    at_resource = verifier.verify(RESOURCE_PROOF, method="GET", url=RFC_RESOURCE, token=RFC_TOKEN)

    assert at_token_endpoint == at_resource == RFC_THUMBPRINT
    with pytest.raises(ProofError, match="another token"):
        ProofVerifier().verify(RESOURCE_PROOF, method="GET", url=RFC_RESOURCE, token="other")
    with pytest.raises(ProofError, match="another method"):
        ProofVerifier().verify(RESOURCE_PROOF, method="POST", url=RFC_RESOURCE, token=RFC_TOKEN)
    with pytest.raises(ProofError, match="used before"):
        verifier.verify(RESOURCE_PROOF, method="GET", url=RFC_RESOURCE, token=RFC_TOKEN)


def test_the_proofs_of_the_rfc_have_expired() -> None:
    with pytest.raises(ProofError, match="expired"):
        ProofVerifier().verify(TOKEN_PROOF, method="POST", url="https://server.example.com/token")
