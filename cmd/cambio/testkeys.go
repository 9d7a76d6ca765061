package main

// testKeys are the SHA-256 thumbprints (RFC 7638) of the keys that stand in this
// repository's testdata. Their private halves are unknown; who published them is
// not. A test holds the list against the files.
var testKeys = map[string]bool{
	"FPvBKaQuL_V9jk2M6-7uY2pQy5T83d0781URtNFJ080": true, // keycloak
	"IHiEWfWPuai2p34B6BzXpm-TTf6SZKUZoKN7Xw1eWiU": true, // keycloak
	"Mn9STxzz802kVV8idmpIrO2l5bQWrHMYqsC_X6Qk04I": true, // keycloak
	"zFLjJq-VAiaZzdlADebo4CT_wwTSxUmkGkbYDj2kMPA": true, // keycloak
	"-ifArG5QSDLHxxf8kkt6POmS_g3IFq_cBwGLPzINfbc": true, // kubernetes
	"1Q6tKqyZVJsoMR93nMNUbJD9NRDinkXjb2Px5rv8FBk": true, // kubernetes
	"EUwtQgxY306OtqmjOcQPspaKvqYgXxTQJubtAAoluNM": true, // kubernetes
	"RxhHAU-AKlepUXHOx4Hr8yQoX5cIzQzM5lXlSf67gMI": true, // oidc-provider
	"jbk6yt0EFrp_ib7Y_fXHW6pFWq0CBSIypq-fD8nHNXY": true, // oidc-provider
	"VFprRc0Cm3lyqgRyELtrjwHG65Y1J3Nt6i5dXkR_I9g": true, // openbao
	"d1kypEYtYlloG_-lqMlc43x3l-EcAX1FAkorzZdgg-U": true, // openbao
	"fAzPMTBZ9DiuJCfqOB-v_XpDdKkMAe92BzsHdePQAEs": true, // openbao
	"v32q9Z_tIDT7Cty5lSXmyJ1kY4TPp420y35LTyFp-Vg": true, // openbao
	"RdJ72oEEUFSqSj1j9auAQ7ssk-W7Qt4YBHhXUDa5BAI": true, // spiffe
	"cFRKudUNDMdITYzJ78tzIvHiaLGoxeyb3Z9tuWc_z64": true, // spiffe
}
