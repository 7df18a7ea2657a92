package cache

import "testing"

func TestKeyName(t *testing.T) {
	const uuid = "1234abcd-12ab-34cd-56ef-1234567890ab"
	for id, want := range map[string]string{
		uuid:         uuid,
		"alias/mine": "alias/mine",
		"alias/a/b":  "alias/a/b",
		"arn:aws:kms:us-east-1:000000000000:key/" + uuid: uuid,
		"arn:aws:kms:us-east-1:000000000000:alias/mine":  "alias/mine",
		"alias/aws/elasticache":                          DefaultKey,
		"mrk-1234abcd12ab34cd56ef1234567890ab":           "mrk-1234abcd12ab34cd56ef1234567890ab",
		"":                                               "",
		"mine":                                           "",
		"alias/":                                         "",
		"alias/../../x":                                  "",
		uuid + "0":                                       "",
		"arn:aws:kms:eu-west-1:000000000000:key/" + uuid:     "",
		"arn:aws:kms:us-east-1:000000000000:key/x":           "",
		"arn:aws:iam::000000000000:key/" + uuid:              "",
		"arn:aws:kms:us-east-1:000000000000:grant/" + uuid:   "",
		"arn:aws:kms:us-east-1:00000000000:alias/mine":       "",
		"arn:aws:kms:us-east-1:000000000000:alias/mine\nx=1": "",
	} {
		if name, ok := KeyName("us-east-1", id); ok != (want != "") || ok && name != want {
			t.Errorf("%q names %q, %v; want %q", id, name, ok, want)
		}
	}
}

func TestSealKey(t *testing.T) {
	for _, tc := range []struct {
		s    Snapshot
		want string
	}{
		{Snapshot{}, ""},
		{Snapshot{Settings: Settings{AtRestEncryption: true}}, DefaultKey},
		{Snapshot{Settings: Settings{AtRestEncryption: true, KmsKeyID: "alias/mine"}}, "alias/mine"},
		{Snapshot{Region: "r", Settings: Settings{KmsKeyID: "arn:aws:kms:r:000000000000:alias/mine"}}, "alias/mine"},
	} {
		if got := tc.s.SealKey(); got != tc.want {
			t.Errorf("%+v is sealed with %q, want %q", tc.s, got, tc.want)
		}
	}
}
